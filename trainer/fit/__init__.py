"""The engine of training: one loop for every recipe, on one CPU, one GPU or many nodes.

    for batch in the numbered stream:
        for turn in the task's turns:  loss, backward, average over processes, step
        average the weights; look for divergence; now and then judge, draw and save

A task (trainer/tasks) knows its nets and losses; the loop knows neither.
"""
