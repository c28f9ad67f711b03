"""A study written in Python: examples/own_study.py [MODEL] [ENGINE] [RECIPE] [RUN_FOLDER]."""

import sys

import weightcut

defaults = ("smollm2-135m", "openvino", "int8", "runs/own")
model, engine, recipe, folder = (*sys.argv[1:], *defaults[len(sys.argv) - 1 :])

study = weightcut.load_study(
    {
        "study": "own",
        "model": model,
        "variants": {
            "full": {"engine": engine, "recipe": []},
            "small": {"engine": engine, "recipe": recipe},
        },
        "tasks": [{"name": "humaneval", "limit": 10}, {"name": "perplexity", "limit": 2}],
        "profile": {"concurrency": [1], "prompts": 4, "new_tokens": 16},
    }
)
results = weightcut.evaluate_tradeoff(study, folder)
print(results.recommendation)
