# %% [markdown]
# # A table
#
# From a CSV with missing cells and words in it to predictions in a file, with an honest yardstick beside the
# network.

# %%
import csv
import random

random.seed(0)
with open("houses.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["area", "rooms", "district", "price"])
    for _ in range(600):
        area, district = random.uniform(30, 200), random.choice(["north", "south", "harbour"])
        price = 3000 * area * {"north": 1.0, "south": 0.8, "harbour": 1.6}[district] + random.gauss(0, 20000)
        rows.writerow([round(area, 1) if random.random() > 0.05 else "", int(area // 25) + 1, district, round(price)])

# %% [markdown]
# What was understood of it is said, a sentence each: what is missing and how it is filled, which columns are
# categories, how the rows were split.

# %%
import ladle

data = ladle.data.load("houses.csv", target="price")
data

# %%
model = ladle.models.mlp(*data.input_shape, 32, 1)
task = ladle.Task(model, None, data)
run = ladle.fit(task, 32, until="40 epochs, patience 8", out="houses-run")
run

# %% [markdown]
# ## Is it worth it?
#
# scikit-learn's linear model and boosted trees on the same rows, judged on the same validation rows, in the
# unit of the price.

# %%
print(run.baselines())

# %% [markdown]
# ## New rows
#
# As they come: columns in another order, a missing cell, a district that nobody has seen.

# %%
run.predict(
    [
        {"district": "harbour", "area": 80, "rooms": 4},
        {"district": "north", "area": None, "rooms": 4},
        {"district": "island", "area": 80, "rooms": 4},
    ]
).round(-3)

# %% [markdown]
# The same on the command line: `ladle predict houses-run new.csv -o prices.csv`. The report, with predicted
# against true prices and their residuals, is one file:

# %%
from ladle.report import write_report

write_report("houses-run").name
