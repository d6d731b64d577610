"""thin"""
import argparse, json, sys, time
from pathlib import Path
from . import suite, workers

def main(arguments):
    p=argparse.ArgumentParser()
    p.add_argument("names", nargs="*")
    p.add_argument("--direct", action="store_true")
    p.add_argument("--binary", type=Path)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--logs", type=Path)
    p.add_argument("--out", type=Path)
    g=p.parse_args(arguments)
    names=g.names or [n for n in suite.tests() if not suite.owns_server(n)]
    t=time.time(); n=0
    with open(g.out,"w") as out:
        for o in workers.run(names, None if g.direct else g.binary, g.jobs, g.logs):
            n+=1
            out.write(f"{o.name}\t{o.result}\t{o.why if o.result!='fail' else ''}\n"); out.flush()
            if o.result=="fail": print(f"{time.time()-t:6.0f} {n}/{len(names)} FAIL {o.name}", flush=True)
