"""Which tests of other libraries' loaders do not pass on a `Loader`, and why: the table behind `loader_suites.py`.

What a user may miss is told in `docs/loader.md`, "What cannot be expressed". A name stands for all of its parameters,
or for one set of them where these are given.
"""

from __future__ import annotations

import re

JUDGED: list[tuple[str, str, tuple[str, ...]]] = [  # verdict, why, tests.
    (
        "by design",
        "a state has a form of its own, and a position is enough",
        (
            "TestInitialState_shard0::test_initial_state",
            "TestInitialState_shard0::test_load_state_after_initial_state_dict",
            "TestDatasetIteratorStateDuplication_shard0::test",
            "TestSingleIterCalled_shard0::test_inline",
            "TestSingleIterCalled_shard0::test_inline_iter",
            "TestSingleIterCalled_shard0::test_mp",
            "TestSingleIterCalled_shard0::test_mp_iter",
        ),
    ),
    (
        "by design",
        "a state resumes with another number of workers",
        ("TestNumWorkersMismatch_shard3::test_num_workers_mismatch",),
    ),
    (
        "by design",
        "a pass begins, and its workers with it, when its first batch is asked for",
        ("TestInitialState_shard0::test_init_error",),
    ),
    (
        "refused",
        "persistent_workers=(False,): a switch is True or False",
        ("TestInitialState_shard0::test_load_then_state",),
    ),
    (
        "refused",
        "several workers over a stream that does not share itself would each hand out all of it",
        (
            "TestStatefulDataLoaderIterable2_shard0::test_mp_every_n_steps",
            "TestStatefulDataLoaderIterable2_shard0::test_mp_pw",
            "TestStatefulDataLoaderIterable2_shard0::test_mp_x",
            "TestStatefulDataLoaderIterable2_shard0::test_random_state",
            "TestDynamicStateIterableDataset_shard0::test",
            "TestFastStateDictRequestRoundRobin_shard3::test_fast_state_dict_request",
            "TestFastStateDictRequestRoundRobin_shard3::test_fast_state_dict_request_skip_steps",
            "TestDataLoader::test_iterable_style_dataset",
            "TestDataLoaderPersistentWorkers::test_iterable_style_dataset",
            "TestSetAffinity::test_set_affinity_in_worker_init",
        ),
    ),
    (
        "refused",
        "in_order=False: a batch is a function of its position",
        (
            "TestOutOfOrderWithCheckpointing::test_out_of_order_index_ds",
            "TestOutOfOrderWithCheckpointing::test_out_of_order_iterable_ds_no_completed_workers",
            "TestOutOfOrderWithCheckpointing::test_out_of_order_iterable_ds_one_completed_worker",
            "TestOutOfOrderDataLoader::test_out_of_order_index_ds",
            "TestOutOfOrderDataLoader::test_out_of_order_iterable_ds",
        ),
    ),
    (
        "by design",
        "the order is drawn from `seed`, not from torch's generator",
        (
            "TestDataLoader::test_seed_replicability",
            "DataLoaderTester::test_reproducibility_num_workers_1",
            "DataLoaderTester::test_reproducibility_num_workers_2",
        ),
    ),
    (
        "by design",
        "which worker reads a batch is not fixed, only the batches' order",
        (
            "TestIndividualWorkerQueue::test_ind_worker_queue",
            "TestOutOfOrderDataLoader::test_in_order_index_ds",
            "TestOutOfOrderDataLoader::test_in_order_iterable_ds",
        ),
    ),
    (
        "refused",
        "an example that cannot be read is an ExampleError with its id, whatever the dataset raised",
        (
            "TestDataLoader::test_error",
            "TestDataLoaderPersistentWorkers::test_error",
            "TestDataLoader::test_error_workers",
            "TestDataLoaderPersistentWorkers::test_error_workers",
        ),
    ),
    (
        "by design",
        "whether there are too few or too many workers, or should persist, only a run shows",
        (
            "TestDataLoader::test_excessive_thread_creation_warning",
            "TestDataLoaderPersistentWorkers::test_excessive_thread_creation_warning",
            "test_dataloader_persistent_workers_performance_warning[1]",
            "test_dataloader_persistent_workers_performance_warning[2]",
            "test_worker_check_reload_dataloaders_every_n_epochs_limitations",
            "test_warning_with_few_workers",
            "test_warning_with_few_workers_multi_loader",
        ),
    ),
    (
        "by design",
        "an order is over as many examples as there were",
        (
            "TestDataLoader::test_growing_dataset",
            "TestDataLoaderPersistentWorkers::test_growing_dataset",
        ),
    ),
    (
        "by design",
        "the batch size may change between two batches",
        (
            "TestDataLoader::test_invalid_assign_after_init",
            "TestDataLoaderPersistentWorkers::test_invalid_assign_after_init",
        ),
    ),
    (
        "refused",
        "each of the combinations is refused, in words of ladle's own",
        (
            "TestDataLoader::test_invalid_ctor_args_combinations",
            "TestDataLoaderPersistentWorkers::test_invalid_ctor_args_combinations",
        ),
    ),
    (
        "refused",
        "shuffle=True for a stream or a data pipe, which has no examples by number",
        (
            "TestDataLoader::test_multiprocessing_iterdatapipe",
            "TestDataLoaderPersistentWorkers::test_multiprocessing_iterdatapipe",
            "TestDataLoader::test_multiprocessing_iterdatapipe_with_dill",
            "TestDataLoaderPersistentWorkers::test_multiprocessing_iterdatapipe_with_dill",
            "IntegrationTestDataLoaderDataPipe::test_shuffler_iterdatapipe",
        ),
    ),
    (
        "refused",
        "an empty dataset: there is nothing to learn from",
        (
            "test_has_len_all_rank",
            "test_empty_prefetch_iterator[0-EmptySizedDataset]",
            "test_empty_prefetch_iterator[1-EmptySizedDataset]",
            "test_warning_on_zero_len_dataloader",
        ),
    ),
    (
        "refused",
        "a sampler without a length: a position is a place in what it yields",
        ("test_custom_batch_sampler",),
    ),
    (
        "refused",
        "a stream that is used up after a pass",
        ("test_iterable_dataset_stop_iteration_at_epoch_beginning[True]",),
    ),
    (
        "by design",
        "a library makes no second loader of a Loader, and changes none of its samplers",
        (
            "test_update_dataloader_typerror_custom_exception",
            "test_custom_torch_batch_sampler",
            "test_custom_torch_batch_sampler_doppelganger",
            "test_custom_batch_sampler_no_drop_last",
            "test_custom_batch_sampler_no_sampler",
            "test_batch_sampler_shuffle_setting",
            "test_dataloader_kwargs_replacement_with_iterable_dataset",
            "test_dataloader_kwargs_replacement_with_array_default_comparison",
            "test_multiple_dataloaders_with_random_sampler_overfit_batches",
            "test_combined_data_loader_validation_test[True]",
            "test_evaluation_loop_sampler_set_epoch_called[True]",
            "test_prediction_loop_batch_sampler_set_epoch_called",
            "test_overfit_batch_limits_train",
            "test_distributed_sampler_with_overfit_batches",
            "test_dataloaders_with_missing_keyword_arguments",
            "test_update_dataloader_with_multiprocessing_context",
            "test_eval_distributed_sampler_warning[2-warns]",
            "test_eval_shuffle_with_distributed_sampler_replacement",
            "test_combined_data_loader_with_max_size_cycle_and_ddp[True-cpu]",
        ),
    ),
    (
        "refused",
        "a dataset has a length and items by number",
        ("test_combined_dataset_no_length",),
    ),
    (
        "by design",
        "a pass that has begun holds readers and cannot be pickled; its loader can",
        ("test_combined_loader_can_be_pickled",),
    ),
    (
        "artefact",
        "it asks for attributes of the inside of a DataLoader",
        (
            "TestDataLoader::test_bulk_loading_nobatch",
            "TestDataLoaderPersistentWorkers::test_bulk_loading_nobatch",
            "TestDataLoader::test_partial_workers",
            "TestDataLoaderPersistentWorkers::test_partial_workers",
        ),
    ),
    (
        "by design",
        "a Loader has a state, which Lightning keeps with its own",
        ("test_trainer_reset_correctly[fit]",),
    ),
    (
        "by design",
        "a state within a pass means its rest, also where a loop ends each pass early",
        (
            "test_restart_from_last_parity",
            "test_restart_from_last_with_val_parity",
        ),
    ),
    (
        "by design",
        "a Loader tells its sampler the pass itself, beside Lightning",
        ("test_evaluation_loop_sampler_set_epoch_called[False]",),
    ),
    (
        "artefact",
        "its dataset is a mock, which answers to every name",
        ("test_auto_add_worker_init_fn",),
    ),
    (
        "artefact",
        "it derives a class of its own from DataLoader, which the shim is not",
        (
            "test_replace_distributed_sampler",
            "test_combined_loader_simultaneous_workers",
            "test_workers_are_shutdown",
            "test_dataloader_reinit_for_subclass",
        ),
    ),
]


def judgement(test: str) -> tuple[str, str] | None:
    """`(verdict, why)` for a test's name with its path; None where nobody has judged it."""
    name = re.sub(r"^.*?::", "", test)
    for verdict, why, names in JUDGED:
        if name in names or name.split("[")[0] in names:
            return verdict, why
    return None
