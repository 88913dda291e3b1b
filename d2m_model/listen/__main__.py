"""A listening study in the browser, P.808-style: does the music fit the dance, and how good does it sound?

Serve the study (by default on this machine only); votes are stored in runs/<corpus>/listen/study.db:
    python -m d2m_model.listen --corpus demo [--port 8321] [--host 127.0.0.1]
Write mean opinion scores with their intervals, and the raw votes:
    python -m d2m_model.listen --results --corpus demo
"""

from dataset_tools.lib.core.cli import layout_of, run, say, stage_parser
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(app, host: str, port: int) -> None:
    """Serve until interrupted. Raises UserError where the address is not available."""
    import waitress

    try:
        server = waitress.create_server(app, host=host, port=port, threads=8)
    except (OSError, ValueError) as err:
        raise UserError(f"listen: can't serve on {host}:{port} ({err}); give another --port or --host") from None
    if host not in LOOPBACK:
        say(
            "listen", "anyone who reaches this address can take part; put a proxy with TLS in front (docs/listening.md)"
        )
    say(
        "listen",
        f"open http://{host}:{server.effective_port}/ (Ctrl-C stops it; votes are kept, and a new start continues)",
    )
    server.run()


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = stage_parser("d2m_model.listen", __doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8321, help="0 takes any free one (default: 8321)")
    parser.add_argument(
        "--results", action="store_true", help="write mos.json, votes.csv and raters.csv instead of serving"
    )
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port must be 0 to 65535, found {args.port}")
    layout = layout_of(args)
    if not args.results:
        layout.require("shards")

    from d2m_model.listen.params import Params
    from d2m_model.listen.results import Criteria, write_results
    from d2m_model.listen.stage import application
    from d2m_model.listen.store import Store

    params = load_params(layout.params, "listen", Params)
    if args.results:
        base = layout.stage("listen") / "study.db"
        if not base.is_file():
            raise UserError(
                f"{base}: no study yet; run `python -m d2m_model.listen --corpus {layout.corpus}` and let people vote"
            )
        criteria = Criteria(checks_right=params.checks_right, headphones_right=params.headphones_right)
        for line in write_results(Store(base), layout.stage("listen"), criteria, draws=params.draws, seed=params.seed):
            say("listen", line)
        return 0
    serve(application(layout, params), args.host, args.port)
    return 0


if __name__ == "__main__":
    run(main)
