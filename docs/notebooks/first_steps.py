# %% [markdown]
# # First steps
#
# Handwritten digits, from nothing to a model that is kept: how many examples per update, and what comes of it.
# Runs offline in a few seconds on a processor.

# %%
import ladle

data = ladle.data.load("digits")
data

# %% [markdown]
# A task is a model, a loss, data and an optimiser. Nothing runs yet.

# %%
task = ladle.Task(ladle.models.mlp(64, 32, 10), ladle.losses.cross_entropy, data, optimizer="adam")

# %% [markdown]
# ## How many examples per update?
#
# A plan measures memory, speed and the gradient noise scale on this machine, and trains nothing. Every number
# says whether it was measured or predicted.

# %%
plan = ladle.plan(task, lr="rule")
print(plan.explain())

# %% [markdown]
# ## Train
#
# At the planned size; the run ends after ten epochs, or when the validation loss has not fallen for five.

# %%
run = ladle.fit(task, plan, until="10 epochs, patience 5", show=True)
run

# %% [markdown]
# ## Ask it, keep it
#
# The model takes rows as the data has them and answers with classes by name. Kept, it is a folder of
# safetensors and JSON, and needs neither the data nor this notebook.

# %%
run.save("digits-model")
model = ladle.load("digits-model")
model.predict(data.valid["x"][:8]), model.predict_proba(data.valid["x"][:1]).round(3)

# %% [markdown]
# ## Was the size right?
#
# Two sizes beside each other, from the same initial parameters, on the same budget, two seeds each.

# %%
comparison = ladle.compare(task, sizes=[16, 256], seeds=2, until="5 epochs", lr="rule")
comparison
