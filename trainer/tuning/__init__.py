"""``--tune``: search the options of a fit on the training rows, and fit with the best ones.

    budget    how many trials, or seconds
    space     what is searched: a line for each option
    holdout   the training rows in five parts, of which a trial holds one out
    ranking   which trials are the best, and what is tried next
    search    the trials: proposed, ended early, confirmed on the other parts, resumed
    tuned     where a tuned fit starts: anew, in its search, in its training, or complete
    report    the table of trials, and the command that repeats the winner
    progress  the trials while they run

The trials are an asynchronous successive halving (Li et al., A System for Massively Parallel
Hyperparameter Tuning, 2020) in one process. No library for it is used: a trial is a function of
the seed and of the trials before it, so the records of these are all that a search needs to be
resumed with the same bits. optuna's samplers have a state of their own, and it needs SQLAlchemy.
"""
