//! The scaling decision: a pure function of policy, observation and memory.
