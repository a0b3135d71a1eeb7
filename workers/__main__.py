"""`python -m workers`: gevent first, so that every library sees the patched standard library."""

from gevent import monkey

monkey.patch_all()

if __name__ == "__main__":
    from workers.main import main

    main()
