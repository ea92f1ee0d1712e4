"""Pushes and clones with libgit2 and libssh2, by way of pygit2: libgit2.py push DIR URL REFSPEC ...; libgit2.py clone URL DIR [DEPTH].
Prints the server's words, then "ref: result" for every ref."""
import os
import sys

import pygit2


class Callbacks(pygit2.RemoteCallbacks):
    failed = False

    def credentials(self, url, user, allowed):
        key = os.environ["KEY"]
        return pygit2.Keypair(user or "git", key + ".pub", key, "")

    def certificate_check(self, certificate, valid, host):
        return True

    def sideband_progress(self, text):
        sys.stdout.write(text)

    def push_update_reference(self, ref, message):
        print("%s: %s" % (ref, message or "ok"))
        self.failed = self.failed or bool(message)


what, *rest = sys.argv[1:]
callbacks = Callbacks()
try:
    if what == "push":
        dir, url, *specs = rest
        pygit2.Repository(dir).remotes.create_anonymous(url).push(specs, callbacks=callbacks)
    else:
        url, dir, *depth = rest
        pygit2.clone_repository(url, dir, callbacks=callbacks, **({"depth": int(depth[0])} if depth else {}))
except pygit2.GitError as e:
    print("GitError: %s" % e)
    sys.exit(1)
sys.exit(1 if callbacks.failed else 0)
