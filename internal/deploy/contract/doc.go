// Package contract is what deploy.Platform promises, as tests. Every platform runs the same suite, with real images.
//
// To add a platform:
//
//  1. Make a package below internal/deploy with a type that implements deploy.Platform. The comments on the interface say what each
//     method does; deploy.Complete, deploy.ImageReference and deploy.CheckProcesses are the checks that all platforms share.
//  2. Find state by what the platform itself keeps (files, labels), not by what the process remembers: the suite ends the process in
//     the middle of a rollout and opens the platform again.
//  3. Report why a revision did not come up as a *deploy.StartError, so that an app's owner reads the same words everywhere.
//  4. Call Run in a test of the package. Its open function makes the platform, puts the test app's image into the registry that the
//     platform pulls from, and returns an Env: where requests go, and how the platform differs where the interface allows it
//     (Env.User, Env.HidesPorts, Env.NoEdit). A difference is a field of Env that gives its reason.
//  5. Run it with the race detector, and with a second platform open on the same machine or cluster.
//  6. Let the configuration choose the platform (cmd/gitd, internal/server), and add it to docs/architecture.md.
//
// To add a promise: write it on the interface, add a case here, see it fail on each platform that lacks it, and fix these.
//
// A case is a method of suite with Services of its own, since cases run in parallel. restart and killed run alone: they close the
// platform.
package contract
