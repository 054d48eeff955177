"""SemanticIDTransformer: content codes as a step of a scikit-learn pipeline."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from semantic_ids.codes import check_codes
from semantic_ids.fusers.base import Fuser
from semantic_ids.fusers.concat import Concat
from semantic_ids.interop.table import column_names
from semantic_ids.quantizers.base import Quantizer
from semantic_ids.quantizers.rq_kmeans import RQKMeans
from semantic_ids.resolvers.suffix import Suffix
from semantic_ids.spec import StageSpec
from semantic_ids.tokenizer import Tokenizer


class SemanticIDTransformer(TransformerMixin, BaseEstimator):
    """Turns rows of numbers into content codes, and back, by the rules of scikit-learn.

    Unlike a `Tokenizer` it has an unfitted state, knows no ids and gives equal rows equal codes.

    Parameters
    ----------
    quantizer : a Quantizer spec; None for `RQKMeans()`. Its fields are parameters of their own,
        such as `quantizer__levels`. Where there are fewer rows than entries in a codebook, `fit`
        takes a smaller `codebook_size`, if the spec has one, and warns.
    fuser : a Fuser spec; None for `Concat()`. Its fields are parameters, too.

    Attributes
    ----------
    tokenizer_ : the fitted `Tokenizer`, whose catalogue is the rows of the fit, by row number.
    n_features_in_ : columns of the fit.
    feature_names_in_ : their names, where X was a frame.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 8))
    >>> transformer = SemanticIDTransformer(quantizer=RQKMeans(levels=2, codebook_size=16))
    >>> codes = transformer.fit_transform(X)
    >>> codes.shape, codes.dtype, transformer.inverse_transform(codes).shape
    ((300, 2), dtype('int32'), (300, 8))
    >>> transformer.set_params(quantizer__levels=3).fit_transform(X).shape
    (300, 3)
    >>> transformer.get_feature_names_out().tolist()
    ['code_a', 'code_b', 'code_c']
    """

    def __init__(self, quantizer: Quantizer | None = None, fuser: Fuser | None = None) -> None:
        self.quantizer = quantizer
        self.fuser = fuser

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the specs by name, and, if `deep`, their fields as ``NAME__FIELD``."""
        params = super().get_params(deep=False)
        for stage, spec in self._stages().items() if deep else ():
            fields = [name for name in type(spec).model_fields if name != "kind"]
            params.update({f"{stage}__{field}": getattr(spec, field) for field in fields})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set specs, or single fields of theirs, which are validated at once.

        Raises
        ------
        ValueError
            if there is no such parameter, or a field's value is not valid.
        """
        super().set_params(**{name: params[name] for name in params if "__" not in name})
        for stage, spec in self._stages().items():
            changed = {
                name.partition("__")[2]: value
                for name, value in params.items()
                if name.partition("__")[0] == stage and "__" in name
            }
            if changed:
                setattr(self, stage, type(spec).model_validate({**dict(spec), **changed}))
        unknown = [name for name in params if name not in self.get_params()]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no parameter of {self!r}")
        return self

    def _specs(self) -> dict[str, Any]:
        return {
            "quantizer": RQKMeans() if self.quantizer is None else self.quantizer,
            "fuser": Concat() if self.fuser is None else self.fuser,
        }

    def _stages(self) -> dict[str, StageSpec]:
        """Leave out what is no spec, which only `fit` refuses, as scikit-learn wants it."""
        return {name: of for name, of in self._specs().items() if isinstance(of, StageSpec)}

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (N, d); `y` is not used.

        Raises
        ------
        TypeError, ValueError
            if X is no finite matrix, or a parameter is no spec.
        """
        specs = self._specs()
        quantizer, fuser = Quantizer.parse(specs["quantizer"]), Fuser.parse(specs["fuser"])
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        # Content codes are all that is used; a suffix makes any of them unique.
        self.tokenizer_ = Tokenizer.fit(
            X,
            fuser=fuser,
            quantizer=_shrunk(quantizer, len(X)),
            resolver=Suffix(max_suffix=len(X)),
            progress=False,
        )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return content codes (n, L) int32 of rows (n, d); a row's code depends on it alone.

        Raises
        ------
        NotFittedError
            before `fit`.
        ValueError
            if X does not fit that of the fit.
        """
        check_is_fitted(self)
        return self.tokenizer_.encode(
            validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        )

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the rows (n, d) float32 that content codes (n, L) stand for.

        Raises
        ------
        NotFittedError
            before `fit`.
        ValueError
            if X holds no codes of this transformer.
        """
        check_is_fitted(self)
        sizes = self.tokenizer_.code_sizes[:-1]
        codes = check_codes(np.asarray(X), sizes, name="X")
        (rows,) = self.tokenizer_.decode(codes).values()
        return rows

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of codes, ``code_a``, ``code_b``, ...; (L,) object.

        Raises
        ------
        NotFittedError
            before `fit`.
        """
        check_is_fitted(self)
        return np.array(column_names(self.tokenizer_.content_codes.shape[1]), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        """Say that codes are int32 whatever the rows are."""
        tags = super().__sklearn_tags__()
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []
        return tags


def _shrunk(quantizer: Quantizer, n: int) -> Quantizer:
    """Return a spec whose codebooks have at most n entries, with a warning where it differs."""
    if quantizer.least_items <= n or "codebook_size" not in type(quantizer).model_fields:
        return quantizer
    sizes = tuple(min(size, n) for size in quantizer.codebook_sizes)
    warnings.warn(
        f"codebook_size={quantizer.least_items} needs at least as many rows, got {n}; "
        f"taking codebook_size={sizes}",
        stacklevel=3,
    )
    return type(quantizer).model_validate({**dict(quantizer), "codebook_size": sizes})
