"""Images: reading image files, and drawing grids, plots and animations."""
