// Package e2e tests gitd from outside: the real binary, built with the race detector, is pushed to by the real git over the
// real ssh, and runs what it built under the real runc. Nothing is mocked.
//
// Each file in testdata is one script (see github.com/rogpeppe/go-internal/testscript). Besides testscript's own commands it
// may use those in commands_test.go. Run all of them, or one, as root:
//
//	go test -timeout 40m ./test/e2e
//	go test -timeout 10m -v ./test/e2e -run 'TestScripts/^first_push$'
//
// GITD_E2E_PUSHES sets how many pushes blue_green.txtar makes (12). With GITD_E2E_KEEP=1 the data directory of a failed
// script stays, with its server's log.
package e2e
