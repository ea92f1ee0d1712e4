// Package phases is gitd-phases: the lifecycle's detector and builder in one process, as the lifecycle's own programs do it. Those bring the extender,
// whose packages take longer to start than most detections.
package phases

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/buildpacks/lifecycle/buildpack"
	"github.com/buildpacks/lifecycle/cmd"
	"github.com/buildpacks/lifecycle/launch"
	"github.com/buildpacks/lifecycle/phase"
	"github.com/buildpacks/lifecycle/platform"
	"github.com/buildpacks/lifecycle/platform/files"
	"github.com/buildpacks/lifecycle/priv"
)

// Main detects when a line comes from in, and builds if detection passes. Both log to stdout, at debug level: lifecycle.Output picks what people see.
// It returns the exit status, as the lifecycle's programs have it.
func Main(arguments []string, in io.Reader) int {
	flags := flag.NewFlagSet("gitd-phases", flag.ContinueOnError)
	marker := flags.String("marker", "", "begins the line that ends detection")
	app := flags.String("app", "", "folder of the app")
	order := flags.String("order", "", "file with the order of detection, where it is not the builder's")
	if err := flags.Parse(arguments); err != nil {
		return cmd.CodeForInvalidArgs
	}
	p := &phases{app: *app, order: *order}
	if err := p.prepare(); err != nil {
		return ended(err)
	}
	if _, err := bufio.NewReader(in).ReadString('\n'); err != nil {
		return cmd.CodeForFailed // the server ended
	}
	code := ended(p.detect())
	fmt.Printf("\n%s detected %d\n", *marker, code)
	if code != 0 {
		return code
	}
	return ended(p.build())
}

// phases are both phases of one build.
type phases struct {
	app, order string
	api        string // of the platform
}

// prepare does what can be done before the app is there.
func (p *phases) prepare() error {
	cmd.DisableColor(true)
	if err := cmd.DefaultLogger.SetLevel("debug"); err != nil {
		return err
	}
	if priv.IsPrivileged() {
		return cmd.FailErr(errors.New("refusing to run as root"), "build")
	}
	p.api = os.Getenv(platform.EnvPlatformAPI)
	return cmd.VerifyPlatformAPI(p.api, cmd.DefaultLogger)
}

// inputs are a phase's, as the lifecycle's programs have them.
func (p *phases) inputs(of platform.LifecyclePhase) (*platform.Platform, error) {
	in := platform.NewPlatformFor(p.api)
	in.AppDir, in.LayersDir, in.PlatformDir, in.LogLevel = p.app, "/layers", "/platform", "debug"
	if p.order != "" {
		in.OrderPath = p.order
	}
	if err := platform.ResolveInputs(of, in.LifecycleInputs, cmd.DefaultLogger); err != nil {
		return nil, cmd.FailErrCode(err, cmd.CodeForInvalidArgs, "resolve inputs")
	}
	return in, nil
}

// detect runs the detector, and writes the group and the plan.
func (p *phases) detect() error {
	in, err := p.inputs(platform.Detect)
	if err != nil {
		return err
	}
	factory := phase.NewHermeticFactory(in.PlatformAPI, &cmd.BuildpackAPIVerifier{}, files.NewHandler(), platform.NewDirStore(in.BuildpacksDir, in.ExtensionsDir))
	detector, err := factory.NewDetector(in.Inputs(), cmd.DefaultLogger)
	if err != nil {
		var failed *cmd.ErrorFail
		if errors.As(err, &failed) {
			return failed
		}
		return cmd.FailErr(err, "initialize detector")
	}
	together := &together{}
	defer together.close()
	detector.Executor = together
	group, plan, err := detector.Detect()
	if err != nil {
		return cmd.FailErrCode(err, in.CodeFor(detectFailure(err)), "detect")
	}
	if err := files.Handler.WriteGroup(in.GroupPath, &group); err != nil {
		return err
	}
	return files.Handler.WritePlan(in.PlanPath, &plan)
}

// detectFailure is the kind of a detection's error. What it says of a group that nothing was found for is the line that people are told.
func detectFailure(err error) platform.LifecycleExitError {
	var failed *buildpack.Error
	if !errors.As(err, &failed) {
		return platform.DetectError
	}
	switch failed.Type {
	case buildpack.ErrTypeFailedDetection:
		cmd.DefaultLogger.Error("No buildpack groups passed detection.")
		cmd.DefaultLogger.Error("Please check that you are running against the correct path.")
		return platform.FailedDetect
	case buildpack.ErrTypeBuildpack:
		cmd.DefaultLogger.Error("No buildpack groups passed detection.")
		return platform.FailedDetectWithErrors
	}
	return platform.DetectError
}

// build runs the builder, and writes what it says of the image.
func (p *phases) build() error {
	in, err := p.inputs(platform.Build)
	if err != nil {
		return err
	}
	group, err := files.Handler.ReadGroup(in.GroupPath)
	if err != nil {
		return err
	}
	plan, err := files.Handler.ReadPlan(in.PlanPath)
	if err != nil {
		return err
	}
	for _, bp := range group.Group {
		if err := cmd.VerifyBuildpackAPI(buildpack.KindBuildpack, bp.String(), bp.API, cmd.DefaultLogger); err != nil {
			return err
		}
	}
	analyzed, err := files.Handler.ReadAnalyzed(in.AnalyzedPath, cmd.DefaultLogger)
	if err != nil {
		return cmd.FailErr(err, "reading analyzed.toml")
	}
	builder := &phase.Builder{
		AppDir: in.AppDir, BuildConfigDir: in.BuildConfigDir, LayersDir: in.LayersDir, PlatformDir: in.PlatformDir, ExecEnv: in.ExecEnv,
		BuildExecutor: &buildpack.DefaultBuildExecutor{}, DirStore: platform.NewDirStore(in.BuildpacksDir, ""),
		Group: group, Plan: plan, AnalyzeMD: analyzed, PlatformAPI: in.PlatformAPI,
		Logger: cmd.DefaultLogger, Out: cmd.Stdout, Err: cmd.Stderr,
	}
	metadata, err := builder.Build()
	if err != nil {
		var failed *buildpack.Error
		if errors.As(err, &failed) && failed.Type == buildpack.ErrTypeBuildpack {
			return cmd.FailErrCode(failed.Cause(), in.CodeFor(platform.FailedBuildWithErrors), "build")
		}
		return cmd.FailErrCode(err, in.CodeFor(platform.BuildError), "build")
	}
	return files.Handler.WriteBuildMetadata(launch.GetMetadataFilePath(in.LayersDir), metadata)
}

// ended logs how a phase ended, and returns its exit status.
func ended(err error) int {
	if err == nil {
		return 0
	}
	cmd.DefaultLogger.Errorf("%s\n", err)
	var failed *cmd.ErrorFail
	if errors.As(err, &failed) {
		return failed.Code
	}
	return cmd.CodeForFailed
}
