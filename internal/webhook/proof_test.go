package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func sum(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// header makes a header of pairs.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func prove(k Kind, h http.Header, secrets []string, body string, now time.Time) error {
	p, err := readProof(k, h)
	if err != nil {
		return err
	}
	var all [][]byte
	for _, s := range secrets {
		all = append(all, []byte(s))
	}
	return p.check(all, []byte(body), now)
}

// The examples that GitHub and Standard Webhooks publish, and what differs from them a little.
func TestProof(t *testing.T) {
	const (
		gitHubSecret, gitHubBody = "It's a Secret to Everybody", "Hello, World!"
		gitHubSum                = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
		standardSecret           = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		standardBody             = `{"test": 2432232314}`
		standardSum              = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		other                    = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	)
	then := time.Unix(1614265330, 0)
	standard := func(signature string) http.Header {
		return header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", signature)
	}
	svix := header("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "svix-timestamp", "1614265330", "svix-signature", standardSum)
	raw := header("webhook-id", "1", "webhook-timestamp", "1614265330", "webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(sum([]byte("abcd"), "1.1614265330.x")))
	one := []string{gitHubSecret}
	for _, c := range []struct {
		name    string
		kind    Kind
		header  http.Header
		secrets []string
		body    string
		late    time.Duration
		want    string
	}{
		{"GitHub's example", GitHub, header("X-Hub-Signature-256", "sha256="+gitHubSum), one, gitHubBody, 0, ""},
		{"the second secret", GitHub, header("X-Hub-Signature-256", "sha256="+gitHubSum), []string{"old", gitHubSecret}, gitHubBody, 0, ""},
		{"another body", GitHub, header("X-Hub-Signature-256", "sha256="+gitHubSum), one, gitHubBody + " ", 0, "does not fit"},
		{"another secret", GitHub, header("X-Hub-Signature-256", "sha256="+gitHubSum), []string{"other"}, gitHubBody, 0, "does not fit"},
		{"no header", GitHub, header("X-Hub-Signature", "sha1=00"), one, gitHubBody, 0, "is missing"},
		{"two headers", GitHub, header("X-Hub-Signature-256", "sha256="+gitHubSum, "X-Hub-Signature-256", "sha256="+gitHubSum), one, gitHubBody, 0, "2 times"},
		{"no prefix", GitHub, header("X-Hub-Signature-256", gitHubSum), one, gitHubBody, 0, "is not sha256="},
		{"short", GitHub, header("X-Hub-Signature-256", "sha256=7571"), one, gitHubBody, 0, "is not sha256="},
		{"empty", GitHub, header("X-Hub-Signature-256", "sha256="), one, gitHubBody, 0, "is not sha256="},
		{"long", GitHub, header("X-Hub-Signature-256", strings.Repeat("0", maxProof+1)), one, gitHubBody, 0, "too long"},

		{"GitLab's token", GitLab, header("X-Gitlab-Token", "abc"), []string{"abc"}, "", 0, ""},
		{"another token", GitLab, header("X-Gitlab-Token", "abd"), []string{"abc", "ab"}, "", 0, "is not the secret"},
		{"no token", GitLab, header(), []string{""}, "", 0, "is missing"},
		{"GitLab's signing token", GitLab, standard(standardSum), []string{standardSecret}, standardBody, 0, ""},
		{"a bad signature and a token", GitLab, func() http.Header { h := standard(other); h.Set("X-Gitlab-Token", standardSecret); return h }(), []string{standardSecret}, standardBody, 0, "does not fit"},

		{"a bearer token", S3, header("Authorization", "Bearer abc"), []string{"old", "abc"}, "", 0, ""},
		{"a bearer token by another case", S3, header("Authorization", "bearer  abc"), []string{"abc"}, "", 0, ""},
		{"another bearer token", S3, header("Authorization", "Bearer abd"), []string{"abc"}, "", 0, "is not the secret"},
		{"no bearer token", S3, header(), []string{"abc"}, "", 0, "is missing"},
		{"an empty bearer token", S3, header("Authorization", "Bearer "), []string{""}, "", 0, "is not Bearer"},
		{"a token by another scheme", S3, header("Authorization", "Basic abc"), []string{"abc"}, "", 0, "is not Bearer"},
		{"a token alone", S3, header("Authorization", "abc"), []string{"abc"}, "", 0, "is not Bearer"},

		{"Standard's example", Standard, standard(standardSum), []string{standardSecret}, standardBody, 0, ""},
		{"by Svix's names", Standard, svix, []string{standardSecret}, standardBody, 0, ""},
		{"one of several", Standard, standard(other + " v2,x v1a,y " + standardSum), []string{standardSecret}, standardBody, 0, ""},
		{"in time", Standard, standard(standardSum), []string{standardSecret}, standardBody, tolerance, ""},
		{"too late", Standard, standard(standardSum), []string{standardSecret}, standardBody, tolerance + time.Second, "older than"},
		{"too early", Standard, standard(standardSum), []string{standardSecret}, standardBody, -tolerance - time.Second, "a time to come"},
		{"late and wrong", Standard, standard(other), []string{standardSecret}, standardBody, time.Hour, "does not fit"},
		{"no v1", Standard, standard("v2,x"), []string{standardSecret}, standardBody, 0, "no signature v1"},
		{"a secret that is no base64", Standard, raw, []string{"abcd"}, "x", 0, ""},
		{"a time that is none", Standard, header("webhook-id", "1", "webhook-timestamp", "+5", "webhook-signature", other), one, "", 0, "not a time"},
		{"no id", Standard, header("webhook-timestamp", "5", "webhook-signature", other), one, "", 0, "Webhook-Id is missing"},
	} {
		err := prove(c.kind, c.header, c.secrets, c.body, then.Add(c.late))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Stripe's header, in the form in which Stripe documents it.
func TestProof_Stripe(t *testing.T) {
	const secret, body = "whsec_test_secret", `{"id": "evt_test_webhook", "object": "event"}`
	now := time.Unix(1492774577, 0)
	v1 := hex.EncodeToString(sum([]byte(secret), "1492774577."+body))
	const v0 = "6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
	wrong := "5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd"
	for text, want := range map[string]string{
		"t=1492774577,v1=" + v1 + ",v0=" + v0:     "",
		"t=1492774577,v1=" + wrong + ",v1=" + v1:  "",
		"t=1492774577, v1=" + v1:                  "",
		"v1=" + v1 + ",t=1492774577":              "",
		"t=1492774577,v1=" + v1 + ",v1=xyz,x,=,,": "",
		"t=1492774577,v1=" + wrong:                "does not fit",
		"t=1492774578,v1=" + v1:                   "does not fit",
		"t=01492774577,v1=" + v1:                  "does not fit",
		"t=1492774577,v0=" + v1:                   "no v1",
		"t=1492774577,t=1,v1=" + v1:               "more than one t",
		"v1=" + v1:                                "has no t",
		"t=,v1=" + v1:                             "not a time",
		"t=-1,v1=" + v1:                           "not a time",
		"t=99999999999999999999,v1=" + v1:         "not a time",
		"":                                        "is missing",
		"t=1492774577," + strings.Repeat("v1="+wrong+",", mostSums) + "v1=" + v1: "does not fit",
	} {
		err := prove(Stripe, header("Stripe-Signature", text), []string{secret}, body, now)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	late := now.Add(tolerance + time.Second)
	old := "t=" + strconv.FormatInt(now.Unix(), 10) + ",v1=" + v1
	if err := prove(Stripe, header("Stripe-Signature", old), []string{secret}, body, late); err == nil || !strings.Contains(err.Error(), "older than") {
		t.Errorf("a recorded request: %v", err)
	}
}

// A header that was made without the secret proves nothing, whatever it is.
func FuzzProof(f *testing.F) {
	f.Add("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "1", "1614265330")
	f.Add("t=1614265330,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,v0=x", "1", "1")
	f.Add("Bearer x", "", "")
	f.Add("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")
	secret := []byte(fmt.Sprintf("%x", bytes.Repeat([]byte{7}, 32)))
	f.Fuzz(func(t *testing.T, signature, id, at string) {
		h := header("X-Hub-Signature-256", signature, "Stripe-Signature", signature, "X-Gitlab-Token", signature, "Authorization", signature, "Webhook-Signature", signature, "Webhook-Id", id, "Webhook-Timestamp", at)
		for _, k := range Kinds {
			p, err := readProof(k, h)
			if err == nil && (len(p.sums) == 0 && p.token == "" || len(p.sums) > mostSums) {
				t.Errorf("%s: %+v", k, p)
			}
			if err == nil && p.check([][]byte{secret}, []byte("{}"), time.Unix(1614265330, 0)) == nil {
				t.Errorf("%s takes %q", k, signature)
			}
		}
	})
}
