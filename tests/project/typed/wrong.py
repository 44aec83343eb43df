"""What type checkers must report: each line that says so, and no other."""

from __future__ import annotations

import fastmf
from fastmf import MF, Interactions, Options, Update
from fastmf.losses import Confidence, Logistic, Squared
from fastmf.optimizers import SGD, AdaGrad
from fastmf.regularizers import L2
from fastmf.samplers import Uniform

events = Interactions([1, 2], [3, 4])
model = MF()

MF(loss="bpr")  # wrong
MF(loss=Squared)  # wrong
MF(loss=L2())  # wrong
MF(solver=Squared())  # wrong
MF(regularizer=0.1)  # wrong
MF(n_factors=50)  # wrong
MF(factors="50")  # wrong
MF(options=4)  # wrong
MF.from_factors([[1.0]], [[1.0]], learning_rate=0.1)  # wrong
Confidence(beta=2.0)  # wrong
Confidence(alpha="2")  # wrong
Logistic(negatives="4")  # wrong
AdaGrad(learning_rate=0.1)  # wrong
Uniform(3)  # wrong
Options(num_threads=4)  # wrong
Update(learning_rate=0.1)  # wrong
Update(loss="bpr")  # wrong
SGD().rate = 0.2  # wrong
model.fit([(1, 2, 3.0)])  # wrong
model.fit(events, n_iter=3)  # wrong
model.fit(events).predicts([1], [2])  # wrong
model.update([(1, 2)])  # wrong
model.update(events, learning_rate=0.1)  # wrong
model.update(events, rate="fast")  # wrong
model.update(events).revision  # wrong
model.predict([1])  # wrong
model.recommend([1], N=3)  # wrong
model.learn_one(1, 2, "5")  # wrong
fastmf.load(5)  # wrong
fastmf.nothing  # wrong
fastmf.losses.Absolute()  # wrong
fastmf.integrations.from_nowhere()  # wrong
