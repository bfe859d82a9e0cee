//! The processor: state, evaluator, event delivery, helpers.
