"""Compress a model by a recipe: python examples/compress.py [MODEL] [RECIPE] [FOLDER]."""

import sys

import weightcut

model, recipe, folder = (
    *sys.argv[1:],
    *("smollm2-135m", "int8", "smollm2-int8")[len(sys.argv) - 1 :],
)

artifact = weightcut.compress_model(model, recipe, folder)

print(f"{artifact.path}: {artifact.bytes / 1e6:.0f} MB, {artifact.format}")
for name, proof in artifact.proofs.items():
    print(f"{name}: KL {proof.kl:.1e} nats per token, same best token at {proof.top1:.1%}")
