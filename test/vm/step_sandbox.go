package main

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

var testResult = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)

// sandboxStep runs packages' own tests: on this kernel, with these control groups.
func sandboxStep(_ context.Context, t *trial) error {
	for _, p := range goTests {
		dir := "/root/tests/" + p
		out, err := t.within(t.slow(10*time.Minute), fmt.Sprintf(`mkdir -p /root/tests && cp -r /media/programs/tests/. /root/tests && cd %s &&
			GITD_TEST_PROBE=%[1]s/probe GITD_TEST_PARTS=%s ./test -test.v -test.timeout %v 2>&1`, dir, "/media/programs/gitd/parts", t.slow(9*time.Minute)))
		results := testResult.FindAllStringSubmatch(out, -1)
		for _, r := range results {
			t.report.add(p+" "+r[2], r[1] != "FAIL", "PASS", outputOf(out, r[2]))
		}
		t.report.add(p+" ends well", err == nil && len(results) > 0, "exit status 0", fmt.Sprint(err, "\n", tailOf(out)))
	}
	return nil
}

// outputOf is what a failed test said; it is empty for others.
func outputOf(out, test string) string {
	from := regexp.MustCompile(`(?m)^--- FAIL: ` + regexp.QuoteMeta(test) + `.*(\n    .*)*`).FindString(out)
	return from
}

func tailOf(s string) string { return s[max(0, len(s)-1500):] }
