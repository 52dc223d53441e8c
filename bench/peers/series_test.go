package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// TestAgree holds that a build is compared with another one, here with itself, contender by
// contender, and that a contender of which nothing is measured fails.
func TestAgree(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-mode", "agree", "-baseline", self, "-rounds", "2", "-warm", "5ms", "-dur", "20ms"}
	var stdout bytes.Buffer
	if code := run(t.Context(), append(args, "-peers", "smux,ideal-go"), &stdout, io.Discard); code != exitOK && code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"| smux | 1 |", "| smux | 64 |", "| ideal-go | 1 |", "rate here : there"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &stdout)
		}
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), append(args, "-peers", "test-broken"), io.Discard, &stderr); code != exitFailed {
		t.Errorf("a contender that fails: exit code %d, and\n%s", code, &stderr)
	}
}
