package java

import (
	"path/filepath"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// sbtRuns and scalaRuns are the newest versions of Java that versions of sbt run on, and that versions of Scala's compiler read the classes of.
var (
	sbtRuns   = []limit{{"1.9.0", 25}, {"1.6.0", 17}, {"1.1.0", 11}}
	scalaRuns = []limit{{"3.3.1", 25}, {"3.0.0", 17}, {"2.13.11", 25}, {"2.13.6", 17}, {"2.13.0", 11}, {"2.12.18", 25}, {"2.12.15", 17}, {"2.12.4", 11}}
)

var scalaNumber = pattern.New(`(?i)\bscala_?\d*_?(?:v|ver|version)?\s*(?::\s*String\s*)?:?=\s*"(\d[\d.]*)`)

// sbtNewest is the newest Java for an app of sbt.
func sbtNewest(app string) int {
	newest := newestFor(sbtWanted(app), sbtRuns)
	for _, m := range scalaNumber.FindAllStringSubmatch(sbtTexts(app), -1) {
		newest = lowest(newest, newestFor(m[1], scalaRuns))
	}
	return newest
}

// sbtWanted is the version of sbt that the app asks for; "" for none.
func sbtWanted(app string) string {
	return properties(kit.Text(app, "project/build.properties"))["sbt.version"]
}

// sbtTexts are the build files of the app.
func sbtTexts(app string) (text string) {
	for _, p := range []string{"*.sbt", "project/*.sbt", "project/*.scala", "*/build.sbt"} {
		found, _ := filepath.Glob(filepath.Join(app, p)) // constant patterns
		for _, f := range found[:min(len(found), 50)] {
			text += kit.Text(f) + "\n"
		}
	}
	return text
}
