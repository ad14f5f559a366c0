"""Nets and losses of each way of training; trainer/fit runs them."""
