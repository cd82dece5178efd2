"""Whether drawn rows teach a model what real ones do."""

import warnings
from collections.abc import Mapping
from statistics import fmean
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ganzoo import Column, Dataset, MetricConfig, UserError
from ganzoo_plugins.metrics.tables import Rows, TableMetric

__all__ = ["MLEfficacy"]

_SETS = 5


class MLEfficacy(TableMetric):
    """Machine-learning efficacy: models trained on drawn rows and tested on real ones that were held out
    (arXiv:1907.00503, section 5.1).

    They predict the data's ``target`` column, or the last one, from the others: a category by ``logistic`` regression
    and gradient ``boosting``, each with its ``accuracy``; a number by ``ridge`` regression and gradient ``boosting``,
    each with its ``r2``. They are scikit-learn's, with its settings. There are at most as many drawn rows as training
    rows, and the reference are models trained on these. Of small tables, which rows are drawn matters as much as what
    draws them: they are means over up to five sets of drawn rows, each as large as the training rows. Numbers are
    standardized; a missing one is the mean, and told.
    """

    better: ClassVar = {"": "higher"}

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if self.test is None:
            raise UserError(f"it tests models on rows that are held out, and {dataset.spec.name} has none")
        target: str = getattr(dataset, "target", self.field.columns[-1].name)
        columns = {column.name: column for column in self.field.columns}
        if len(columns) < 2:
            raise UserError(f"it predicts a column from the others, and {dataset.spec.name} has one column")
        self.target = columns.pop(target)
        self.others = list(columns.values())

    def figures(self, rows: Rows) -> dict[str, float]:
        """Return the accuracy or R2 of each model, trained on the rows: the mean over sets of them."""
        size = len(self.training)
        sets = max(1, min(_SETS, len(rows) // size))
        found = [self._scores(rows[each * size : (each + 1) * size]) for each in range(sets)]
        return {figure: fmean(each[figure] for each in found) for figure in found[0]}

    def reference(self) -> dict[str, float]:
        """Return the figures of models trained on the training rows."""
        return self._scores(self.training)

    def _scores(self, rows: Rows) -> dict[str, float]:
        from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
        from sklearn.linear_model import LogisticRegression, Ridge

        assert self.test is not None
        name, numeric = self.target.name, self.target.range is not None
        rows, test = (_told(each, self.target) for each in (rows, self.test))
        if not (len(rows) and len(test)):
            raise UserError(f"the target {name!r} is missing in all rows")
        models: Mapping[str, Any] = {
            "ridge" if numeric else "logistic": Ridge() if numeric else LogisticRegression(max_iter=1000),
            "boosting": (GradientBoostingRegressor if numeric else GradientBoostingClassifier)(random_state=0),
        }
        inputs, tested = self._inputs(rows), self._inputs(test)
        figures = {}
        for key, model in models.items():
            figure = f"{key}/{'r2' if numeric else 'accuracy'}"
            if len(np.unique(rows[name])) < 2:  # nothing to learn: whatever is asked, it is this
                figures[figure] = 0.0 if numeric else float((test[name] == rows[name][0]).mean())
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of regressions that have not converged
                figures[figure] = float(model.fit(inputs, rows[name]).score(tested, test[name]))
        return figures

    def _inputs(self, rows: Rows) -> NDArray[np.float64]:
        """Return the other columns as numbers [N, F]."""
        parts = []
        for column in self.others:
            values = rows[column.name]
            if column.categories:
                parts += [values == each for each in column.categories]
                continue
            known = self.training[column.name].astype(np.float64)
            mean, deviation = np.nanmean(known), np.nanstd(known) or 1.0
            parts.append(np.nan_to_num((values.astype(np.float64) - mean) / deviation))
            parts += [np.isnan(values)] if column.missing else []
        return np.stack(parts, axis=1).astype(np.float64)


def _told(rows: Rows, column: Column) -> Rows:
    """Return the rows whose value of the column is not missing."""
    return rows[~np.isnan(rows[column.name])] if column.range is not None else rows
