"""Pictures: reading files of images, and drawing grids, plots and animations."""
