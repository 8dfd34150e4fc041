"""One fit in more processes than one, started by ``torchrun``.

    place       which of the processes this is, as torchrun says it
    team        a command in all of them: the first leads, the others follow
    group       what the processes say to each other, and how the loss of one is told
    messages    the same, in values
    agreement   that all have the same rows and, bit for bit, the same weights
    leading     the first: reads, decides, judges, writes and prints
    following   the others: receive rows and state, make steps on their part, say nothing
    part        the steps themselves: a part of each batch, gradients added up

Nothing of it is loaded, and torch's process group is not made, where torchrun is not there.
"""
