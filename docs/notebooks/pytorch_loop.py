# %% [markdown]
# # A PyTorch loop
#
# The loop, the module, the optimiser stay yours. ladle says how many examples an update should have, feeds the
# loop, makes each update exactly that of its whole batch, and tells how noisy the gradient is.

# %%
import torch
from torch import nn
from torch.nn import functional

import ladle

torch.manual_seed(0)
digits = ladle.data.load("digits")
train = {"x": torch.from_numpy(digits.train["x"]), "y": torch.from_numpy(digits.train["y"]).long()}
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)


def loss(model, batch):  # one loss a row: no mean, so that any cut of a batch gives the same gradient
    return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


# %% [markdown]
# ## How many examples?
#
# `Loader` takes the place and the arguments of a `DataLoader`; its size may be set between two batches, and it
# resumes anywhere. The plan measures on copies: nothing of the loop changes. It speaks of the parameters as they
# stand; and a model as small as this one costs a processor hardly more with many rows than with few.

# %%
loader = ladle.feed.Loader(train, batch_size=64, to="torch", shuffle=True, seed=0)
plan = ladle.torch.plan(model, loss, loader, optimizer)
plan

# %% [markdown]
# ## The loop
#
# An update cuts its batch into micro-batches of at most `micro_size` rows and divides once, by what the rows weigh.
# With a gauge it also knows how noisy the gradient was. The size grows with training here, as the noise does, by a
# policy; the optimiser's rate follows by itself, by the square root of the size, as fits Adam.

# %%
update = ladle.torch.Update(model, optimizer, micro_size=64, gauge=ladle.Gauge(every=1), clip=1.0)
policy = ladle.policy.Steps(((0, 32), (5000, 128)), micro_size=64, coupling="square root")
follow = ladle.torch.Follow(policy, None, loader, update)

for _ in range(8):
    for batch in loader:
        update(batch, loss)
        for line in follow():  # where a window ended
            noise = line["noise_scale"]
            told = f"{noise:,.0f} examples" if noise < 1e6 else "not resolved"
            print(f"epoch {line['epoch']:.1f}: size {line['size']}, loss {line['train_loss']:.3f}, noise scale {told}")

# %% [markdown]
# ## How good is it?

# %%
with torch.no_grad():
    answers = model(torch.from_numpy(digits.valid["x"])).argmax(1).numpy()
f"{(answers == digits.valid['y']).mean():.1%} of {len(answers)} digits right that it has not seen"

# %% [markdown]
# ## Stop and go on
#
# Everything that the loop needs is plain data. Loaded anew, it goes on as if it had not stopped.

# %%
parts = {"model": model, "optimizer": optimizer, "loader": loader, "update": update, "follow": follow}
torch.save({name: part.state_dict() for name, part in parts.items()}, "loop.pt")
sorted(torch.load("loop.pt"))
