"""An exported graph made small: constants folded, equal steps merged, needless ones taken out.

The exporter's own optimiser has one rule that looks at all pairs of slices of the graph for every
node of it (onnxscript's SlicesSplit). For a network of some thousand nodes that is hours, and it
saves next to nothing: torch's `chunk` comes as a Split already. These are its other rules.
"""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as steps
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

ROUNDS = 2  # what one removes, another may go on from

RULES = (
    *rules.mul_by_1_rule.commute(),
    *rules.add_0_rule.commute(),
    rules.sub_0_rule,
    rules.div_by_1_rule,
    rules.dropout_zero_rule,
    rules.dropout_inference_rule,
    rules.two_reshapes_matmul_reshape_rule,
    rules.one_reshape_matmul_reshape_rule,
    rules.cast_constant_of_shape_rule,
    rules.cast_constant_of_shape_without_value_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.materialize_reshape_shape_rule,
    rules.min_min_rule,
    rules.max_max_rule,
    rules.min_max_rule,
    rules.max_min_rule,
    rules.successive_clip_relu_rule,
    rules.successive_relu_clip_rule,
    rules.successive_relu_rule,
    rules.successive_clip_rule,
    rules.cast_cast_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.flatten_to_reshape_rule,  # before reshape_reshape_rule
    rules.reshape_reshape_rule,
    rules.no_op_transpose_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.squeeze_reshape_1d_rule,
    rules.normalize_pad_format_conv_rule,
    rules.fuse_pad_into_conv_rule,
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
    rules.remove_optional_bias_from_conv_rule,
    rules.remove_optional_bias_from_conv_transpose_rule,
    rules.remove_optional_bias_from_gemm_rule,
)


def unmarked(model: ir.Model) -> None:
    """Takes out what the exporter notes at every node: whose file and line it comes from, with
    the paths of the machine that made it. In place."""
    steps.ClearMetadataAndDocStringPass()(model)


def tidy(model: ir.Model) -> None:
    """Changes the model in place; what it computes stays the same."""
    steps.InlinePass()(model)
    for _ in range(ROUNDS):
        folded = fold_constants_ir(model, onnx_shape_inference=True)
        rewritten = RewritePass(RULES)(model)
        steps.RemoveUnusedNodesPass()(model)
        if not (folded.modified or rewritten.modified):
            break
    for step in (
        steps.RemoveUnusedOpsetsPass(),
        steps.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        steps.LiftSubgraphInitializersToMainGraphPass(),
        steps.DeduplicateInitializersPass(),
        steps.CommonSubexpressionEliminationPass(),
        steps.OutputFixPass(),
        steps.NameFixPass(),
    ):
        step(model)
    unmarked(model)
