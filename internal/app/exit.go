package app

// The exit statuses of gitd's commands, in the shell and over SSH, and of gitd serve. docs/operations.md lists them for scripts: a number keeps its meaning.
const (
	ExitOK          = 0
	ExitInternal    = 1   // a defect, or a fault of the machine
	ExitUsage       = 2   // the command line, a name, a file or another input is wrong
	ExitNotFound    = 3   // no such app, release or key
	ExitForbidden   = 4   // the key has no right to do this
	ExitConflict    = 5   // the name is taken, or a newer release took over
	ExitUnavailable = 6   // the server is not running or shutting down, or something that it needs is missing
	ExitLimit       = 7   // over a limit
	ExitRelease     = 8   // the release did not go live: its build, its start or its check failed
	ExitAnswer      = 9   // the function answered with an error
	ExitCancelled   = 130 // interrupted, as shells tell SIGINT
)

// exits maps each kind of failure to its exit status.
var exits = map[Code]int{
	"":                ExitOK,
	CodeDryRun:        ExitOK,
	CodeInternal:      ExitInternal,
	CodeInvalidInput:  ExitUsage,
	CodeInvalidName:   ExitUsage,
	CodeNotFound:      ExitNotFound,
	CodeImageMissing:  ExitNotFound,
	CodeForbidden:     ExitForbidden,
	CodeExists:        ExitConflict,
	CodeSuperseded:    ExitConflict,
	CodeUnavailable:   ExitUnavailable,
	CodeLimitExceeded: ExitLimit,
	CodeDetectFailed:  ExitRelease,
	CodeBuildFailed:   ExitRelease,
	CodeExportFailed:  ExitRelease,
	CodeStartFailed:   ExitRelease,
	CodeUnhealthy:     ExitRelease,
	CodeReleaseFailed: ExitRelease,
	CodeCancelled:     ExitCancelled,
}

// ExitStatus is the exit status of a command that ends with err: ExitOK for nil.
func ExitStatus(err error) int {
	if status, ok := exits[CodeOf(err)]; ok {
		return status
	}
	return ExitInternal
}
