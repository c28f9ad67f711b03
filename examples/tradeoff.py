"""Which variant to deploy: python examples/tradeoff.py [STUDY] [RUN_FOLDER]."""

import sys

import weightcut

study, folder = (*sys.argv[1:], *("quickstart", "runs/quickstart")[len(sys.argv) - 1 :])

results = weightcut.evaluate_tradeoff(study, folder)

for variant in results.variants:
    retention = variant.against_baseline and variant.against_baseline.codebleu_retention
    kept = f"{retention.value:.0%}" if retention and retention.value is not None else "-"
    print(f"{variant.name:16} {variant.verdict:10} keeps {kept} of CodeBLEU")
print(results.recommendation)
