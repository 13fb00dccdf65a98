"""Settings of every test: 64 bits, no silent promotion of dtypes, keys with a printed seed."""

import gc
import math
import os
import random
import tempfile
from pathlib import Path

import jax
import jaxtyping
import pytest

TESTS = Path(__file__).parent
# What takes longest. Most have a quicker sibling that stays: the other precision, further variants. `make sweep` runs
# all of them.
# A name without its last bracket stands for all variants that begin so.
LONG = {
    "sobolev/test_fit_checkpoints.py": ("test_files_that_the_system_cuts_off_take_no_checkpoint",),
    "sobolev/test_batched.py": (
        "test_single_precision_stays_single_and_loses_only_rounding",
        "test_agrees_with_ad_in_itself_and_in_its_parameter_gradient[mish [3, 4, 3, 2]",
        "test_agrees_with_ad_in_itself_and_in_its_parameter_gradient[gelu [3, 4, 3, 2]",
        "test_agrees_with_ad_in_itself_and_in_its_parameter_gradient[tanh [2, 6, 4, 3, 1]",
        "test_agrees_with_ad_in_itself_and_in_its_parameter_gradient[softplus [3, 4, 3, 2]-cotangents",
    ),
    "sobolev/test_balance.py": (
        "test_label_noise_weighs_by_the_inverse_variance",
        "test_noise_is_estimated_without_bias_from_repeats",
        "test_the_geometric_mean_is_one_and_shrinks_all_terms_alike",
    ),
    "reference/test_directions.py": (
        "test_leading_curvature_in_other_units",
        "test_a_reference_labels_along_them",
    ),
    "pruning/test_any_network.py": (
        "test_a_dense_network_is_pruned_as_by_prune",
        "test_significance_of_a_convolutional_network",
        "test_float32_stays_float32",
    ),
    "pruning/test_compensation.py": (
        "test_at_a_single_point_nothing_is_lost[last]",
        "test_float32_stays_float32",
        "test_a_constant_node_is_removed_without_any_error",
        "test_at_a_single_point_nothing_is_lost[nodes]",
        "test_a_removed_input_is_fixed[Midpoint]",
        "test_of_many_boxes_the_hull_is_what_counts",
        "test_at_a_single_point_nothing_is_lost[first]",
    ),
    "pruning/test_linear_layers.py": (
        "test_the_bound_holds_and_is_not_far_from_the_error[0-box]",
        "test_the_tolerance_counts_all_layers_together",
        "test_the_bound_holds_and_is_not_far_from_the_error[1-trust regions]",
        "test_layers_of_no_bend_go_without_a_trace",
        "test_the_rounding_of_merged_weights_is_in_the_bound",
    ),
    "pruning/test_iterative.py": ("test_fine_tuning_by_default_repairs_in_single_precision",),
    "pruning/test_dense.py": ("test_the_result_is_an_ordinary_smaller_network[Midpoint]",),
    "test_prune_commands.py": (
        "test_shrink_finds_the_one_node",
        "test_prune_takes_one_step",
    ),
    "study/test_run.py": ("test_same_seed_same_numbers",),
    "certification/test_certify.py": (
        "test_no_difference_is_bounded_to_a_function_that_is_not_defined_everywhere[all but a thousandth]",
        "test_second_derivatives_at_a_kink_prove_nothing[own]",
        "test_the_error_against_a_closed_form_is_certified_within_half",
        "test_an_ellipsoid_is_certified_as_such",
        "test_a_failure_in_the_wing_is_caught",
        "test_convexity_is_proved_for_a_convex_network",
        "test_single_precision",
        "test_what_is_not_finite_certifies_nothing[inf]",
    ),
    "intervals/test_interval_activations.py": (
        "test_activations_are_enclosed_by_their_ranges[squareplus-1-float32]",
        "test_activations_are_enclosed_by_their_ranges[squareplus-2-float64]",
        "test_a_cotangent_multiplies_the_range[gelu_tanh",
        "test_large_arguments_do_not_blow_up[silu-float64]",
        "test_activations_are_enclosed_by_their_ranges[squareplus-0-float64]",
        "test_activations_are_enclosed_by_their_ranges[squareplus-2-float32]",
    ),
    "intervals/test_interval_mean_value.py": (
        "test_the_mean_value_form_takes_a_domain[backward]",
        "test_mean_value_encloses_within_the_natural_enclosure[kinks]",
        "test_mean_value_encloses_within_the_natural_enclosure[scan]",
        "test_mean_value_encloses_within_the_natural_enclosure[several outputs]",
        "test_mean_value_encloses_within_the_natural_enclosure[quotient]",
        "test_arguments_of_both_formats_and_exact_ones",
        "test_mean_value_encloses_within_the_natural_enclosure[chosen]",
    ),
    "intervals/test_interval_adjoints.py": ("test_gradients_and_products[float32]",),
    "intervals/test_interval_arrays.py": (
        "test_a_convolutional_network_and_its_gradient[float64]",
        "test_array_rules_enclose_and_are_tight[cumlogsumexp-float64]",
        "test_array_rules_enclose_and_are_tight[cumlogsumexp from the end-float64]",
        "test_a_convolutional_network_and_its_gradient[float32]",
    ),
    "intervals/test_interval_conformance.py": (
        "test_short_and_long_arrays_are_enclosed[3]",
        "test_short_and_long_arrays_are_enclosed[8]",
        "test_short_and_long_arrays_are_enclosed[17]",
    ),
    "intervals/test_interval_inclusion.py": (
        "test_derivatives_of_bounds_are_finite[abs-mean value]",
        "test_values_and_adjoints_of_networks[sizes0-float64]",
        "test_values_and_adjoints_of_networks[sizes1-float32]",
        "test_bounds_are_differentiable",
    ),
    "intervals/test_interval_incomplete.py": (
        "test_incomplete_functions_enclose_and_are_tight[regularized_incomplete_beta-<class 'numpy.float64'>]",
        "test_incomplete_functions_enclose_and_are_tight[igammac-<class 'numpy.float64'>]",
        "test_limits_are_exact_and_large_parameters_say_nothing",
        "test_incomplete_functions_enclose_and_are_tight[regularized_incomplete_beta-<class 'numpy.float32'>]",
    ),
    "intervals/test_interval_lines.py": (
        "test_residuals_of_forms[silu-float32]",
        "test_residuals_of_forms[gelu-float64]",
        "test_the_best_line_is_nearly_as_near_as_lines_can_be[silu]",
        "test_a_point_and_an_unbounded_interval",
        "test_residuals_of_forms[silu-float64]",
        "test_residuals_of_forms[gelu-float32]",
        "test_residuals_of_forms[sigmoid-float32]",
    ),
    "intervals/test_interval_models.py": (
        "test_closed_form_deltas_and_gammas[Bachelier]",
        "test_closed_form_prices_and_vegas[Black-Scholes-float32]",
        "test_closed_form_prices_and_vegas[Bachelier-float64]",
        "test_convolutional_network[float64]",
        "test_euler_maruyama_path[float64]",
        "test_ode_by_diffrax_at_fixed_steps",
        "test_closed_form_deltas_and_gammas[Black-Scholes]",
        "test_ode_at_fixed_steps[float32]",
        "test_convolutional_network[float32]",
    ),
    "intervals/test_interval_relational.py": (
        "test_a_network_is_enclosed_tightly[float32-backward]",
        "test_networks_are_enclosed[sin]",
        "test_networks_are_enclosed[elu]",
        "test_networks_are_enclosed[hard tanh]",
        "test_networks_are_enclosed[tanh]",
        "test_programs_are_enclosed_and_never_wider[larger and smaller-backward]",
        "test_programs_are_enclosed_and_never_wider[quotients-backward]",
        "test_programs_are_enclosed_and_never_wider[scalars and arrays-affine]",
        "test_adjoints_hessians_and_traced_weights[affine]",
        "test_improved_slopes_are_sound_and_tighter",
        "test_networks_are_enclosed[gelu]",
        "test_programs_are_enclosed_and_never_wider[Black-Scholes-affine]",
        "test_a_network_is_enclosed_tightly[float32-affine]",
        "test_networks_are_enclosed[relu]",
        "test_a_wrong_relation_is_caught[plane through no corner]",
        "test_a_wrong_relation_is_caught[planes without their offsets]",
        "test_a_wrong_relation_is_caught[line without its distance]",
        "test_programs_are_enclosed_and_never_wider[rearranged-backward]",
        "test_empty_unbounded_and_point_boxes[backward]",
        "test_programs_are_enclosed_and_never_wider[larger and smaller-affine]",
        "test_a_wrong_relation_is_caught[product without its quadratic part]",
        "test_programs_are_enclosed_and_never_wider[quotients-affine]",
    ),
    "pruning/test_significance.py": (
        "test_no_sample_shows_more_of_the_gradients",
        "test_relational_domains_are_sound_and_tighter[backward]",
        "test_no_sample_shows_more_than_an_enclosure[silu]",
        "test_a_network_may_be_of_another_precision_than_the_region",
        "test_small_trust_regions_rank_as_samples_do",
        "test_float32_stays_float32",
        "test_significance_of_weights_encloses_and_is_zero_where_nothing_moves",
    ),
    "reference/test_formulas.py": (
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[worst-of put]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[Heston digital]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[down-out put",
        "test_bivariate_normal_law_over_its_whole_range",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[up-out put, low strike]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[down-out call, low strike]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[CEV call]",
        "test_formulas_in_float32[best-of call]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[best-of call]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[best-of put]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[Heston call]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[CEV put]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[down-out call, high strike]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[CEV digital]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[worst-of call]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[up-out call]",
        "test_prices_are_those_of_quadrature_and_derivatives_those_of_differences[Heston put]",
    ),
    "reference/test_models.py": (
        "test_labels_have_the_truth_as_their_mean[CEV digital, smoothed]",
        "test_labels_have_the_truth_as_their_mean[worst of two]",
        "test_labels_have_the_truth_as_their_mean[Bachelier call, mixed]",
        "test_labels_have_the_truth_as_their_mean[Bachelier Asian]",
        "test_labels_have_the_truth_as_their_mean[arithmetic Asian]",
        "test_labels_have_the_truth_as_their_mean[best of two]",
        "test_labels_have_the_truth_as_their_mean[CEV call, all inputs]",
        "test_labels_have_the_truth_as_their_mean[geometric Asian]",
        "test_labels_have_the_truth_as_their_mean[basket under Bachelier]",
        "test_a_bermudan_put_is_a_little_below_the_tree",
        "test_labels_have_the_truth_as_their_mean[Heston digital, smoothed]",
        "test_labels_have_the_truth_as_their_mean[Black-Scholes call, mixed]",
        "test_labels_have_the_truth_as_their_mean[barrier]",
        "test_labels_have_the_truth_as_their_mean[Heston call, all inputs, Feller fails]",
        "test_labels_have_the_truth_as_their_mean[CEV put, often absorbed]",
    ),
    "reference/test_noise.py": (
        "test_variance_falls_and_the_labels_stay_unbiased",
        "test_blocks_are_standard_normals_of_their_dtype[sobol]",
    ),
    "reference/test_schemes.py": ("test_an_ordinary_differential_equation_has_labels_without_noise",),
    "sobolev/test_curvature_loss.py": (
        "test_directions_are_fresh_with_every_key_and_right_on_average[random]",
        "test_the_loss_does_not_depend_on_the_units_of_the_reference[signs]",
        "test_the_loss_does_not_depend_on_the_units_of_the_reference[leading]",
        "test_noise_in_single_precision_is_reported_and_curvature_is_not",
        "test_all_axes_are_the_whole_hessian[default-no key-1]",
        "test_cotangents_are_compared_along_themselves_and_average_to_the_jacobian",
        "test_all_axes_are_the_whole_hessian[default-no key-2]",
    ),
    "intervals/test_interval_subdivision.py": (
        "test_the_range_is_found_within_the_tolerance[affine]",
        "test_many_inputs_that_act_through_few_directions",
        "test_several_outputs_are_enclosed_and_the_state_is_told_after_every_round",
        "test_a_region_within_the_box_and_points_of_its_extremes",
    ),
    "intervals/test_interval_systems.py": (
        "test_an_approximate_solve_is_enclosed_as_what_it_computes[a regularised operator]",
        "test_an_approximate_solve_is_enclosed_as_what_it_computes[a regularised matrix]",
        "test_an_approximate_solve_is_enclosed_as_what_it_computes[the transposed system]",
        "test_widths_do_not_double_with_every_row",
        "test_every_kind_of_triangular_system[True]",
        "test_linear_algebra_is_enclosed_and_tight[gradient of cholesky]",
        "test_every_kind_of_triangular_system[False]",
    ),
    "intervals/test_interval_softmax.py": ("test_a_long_sum_and_far_apart_entries",),
    "sobolev/test_fit_sharding.py": ("test_two_devices_of_one_process",),
    "sobolev/test_whitened.py": ("test_one_path_labels_lose_most_of_their_noise",),
    "sobolev/test_label_weights.py": ("test_a_loop_over_the_known_labels_finds_the_same",),
    "regions/test_regions_along_data.py": (
        "test_a_subdivision_sees_the_shape_of_a_region",
        "test_a_region_holds_its_data_and_moves_others_into_it[trust regions-float32]",
        "test_a_region_holds_its_data_and_moves_others_into_it[aligned box-float32]",
        "test_a_region_holds_its_data_and_moves_others_into_it[ellipsoid-float32]",
    ),
    "test_fit_command.py": (
        "test_a_table_with_curvature_becomes_a_small_surrogate",
        "test_a_larger_network_is_trained_by_adam_on_the_derivatives_that_are_there",
    ),
    "pruning/test_criteria.py": ("test_everything_is_scored[interval significance]",),
    "reference/test_simulation.py": ("test_float32_stays_float32",),
    "intervals/test_interval_special.py": (
        "test_special_rules_enclose_and_are_tight[polygamma-float64]",
        "test_polygamma_of_several_orders[float32]",
        "test_special_rules_enclose_and_are_tight[polygamma-float32]",
    ),
    "intervals/test_interval_xla.py": (
        "test_own_functions_differentiate_batch_and_nest[float32]",
        "test_extrema_between_far_ends_are_found[float32]",
    ),
    "intervals/test_interval_sets.py": ("test_the_empty_set[float32]",),
    "intervals/test_interval_mutations.py": ("test_a_dropped_critical_value_is_caught[0]",),
    "sobolev/test_fit_seeds.py": ("test_raw_keys_serve_as_well",),
    "sobolev/test_fit_sparse.py": ("test_masks_survive_a_fit_that_is_cut_off[5]",),
    "surrogate/test_network.py": ("test_float32_stays_float32",),
    "intervals/test_interval_placement.py": ("test_what_is_placed_is_enclosed[backward]",),
    "intervals/test_interval_undefined.py": ("test_nothing_is_concluded_of_a_function_that_is_defined_nowhere[root]",),
    "pruning/test_sparse_training.py": (
        "test_what_is_masked_is_exactly_zero_and_the_rest_learns[SET]",
        "test_what_is_masked_is_exactly_zero_and_the_rest_learns[cubic]",
        "test_the_cubic_schedule[per layer]",
    ),
}


def pytest_collection_modifyitems(items):
    """Mark the long ones."""
    for item in items:
        entries = LONG.get(item.path.relative_to(TESTS).as_posix(), ())
        if any(item.name == e or (not e.endswith("]") and item.name.startswith(e)) for e in entries):
            item.add_marker(pytest.mark.slow)


# Two workers compile many programs alike, and each compiles some again that it has forgotten (below). One folder holds
# what the workers of a run have compiled; JAX's keys name its version, the flags and the program. Processes that a test
# starts do not use it: some are killed, and JAX writes an entry in place, so that half of one would stay. What a worker
# reads while the other writes fails its checksum, and is compiled (`filterwarnings` in pyproject.toml).
COMPILED = "SOBOLEV_PRUNING_TESTS_COMPILED"


def pytest_configure(config):
    """Give the workers of a run one folder for compiled programs."""
    if hasattr(config, "workerinput"):
        if COMPILED in os.environ:
            jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    elif config.getoption("numprocesses", None) and jax.config.jax_compilation_cache_dir is None:
        folder = tempfile.TemporaryDirectory(prefix="sobolev-pruning-tests-", ignore_cleanup_errors=True)
        os.environ[COMPILED] = folder.name
        config.add_cleanup(folder.cleanup)


# Here, code is compiled as users compile it: whether an enclosure holds may depend on what the compiler does.
COMPILED_AS_SHIPPED = ("intervals",)
# But for these, which are about what is concluded of enclosures, and where things go. Sweeps compile all as shipped.
LOGIC = "adjoints control domains mean_value placement relational sets subdivision systems undefined".split()
BUT_FOR = tuple(f"test_interval_{part}.py" for part in LOGIC)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Elsewhere most of a test's time is compilation, and a quarter of that is optimisation that tests do not need."""
    shipped = item.path.relative_to(TESTS).parts[0] in COMPILED_AS_SHIPPED
    quickly = not shipped or (item.path.name in BUT_FOR and not item.config.getoption("--fresh-seeds"))
    jax.config.update("jax_disable_most_optimizations", quickly)
    # For the processes that a test starts.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(quickly))


# Every compiled program stays mapped into memory, and Linux allows a process 65 530 mappings (vm.max_map_count). A
# worker makes some 12 000 in the first minutes of a run, and one has crashed near the end.
MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 20_000
TESTS_BETWEEN_COUNTS = 10
tests_since_counted = 0


def pytest_sessionstart():
    """Keep the library from forgetting them in the middle of a test, which may count how often JAX traces."""
    from sobolev_pruning import _programs

    _programs._guard.next_count = math.inf


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """Forget compiled programs before there are too many."""
    global tests_since_counted
    tests_since_counted += 1
    if tests_since_counted < TESTS_BETWEEN_COUNTS or not MAPPINGS.exists():
        return
    tests_since_counted = 0
    with MAPPINGS.open("rb") as mappings:
        n_mappings = sum(1 for _ in mappings)
    if n_mappings > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    parser.addoption("--fresh-seeds", action="store_true", help="other random keys in every run (`make sweep`)")


@pytest.fixture
def getkey(request):
    """A function that returns a new random key at every call; the seed is shown when a test fails.

    A test has the same seed in every run, so that what a change breaks is the change's; sweeps look for more.
    """
    source = random.Random(None if request.config.getoption("--fresh-seeds") else request.node.nodeid)
    seed = source.randint(0, 2**31 - 1)
    print(f"seed = {seed}")
    key = jax.random.key(seed)

    def next_key() -> jax.Array:
        nonlocal key
        key, subkey = jax.random.split(key)
        return subkey

    return next_key


@pytest.fixture
def unchecked_shapes():
    """Without jaxtyping's checks, which would be faster than the library's own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
