"""What runs in the fork server and in its children: the standard library alone, no weightcut.

`weightcut.sandbox.worker` starts `zygote` in a fresh, isolated interpreter that has loaded nothing
else, so that a child inherits nothing worth stealing.
"""
