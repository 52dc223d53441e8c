package main

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// TestEnvironment expects what figures depend on to be recorded, and reading it to change nothing.
func TestEnvironment(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	e := thisEnvironment()
	if e.GCPercent != 77 || debug.SetGCPercent(77) != 77 {
		t.Errorf("GOGC is %d, want 77, also afterwards", e.GCPercent)
	}
	want := []string{"GOGC=77", "QUIC with reno"}
	if runtime.GOOS == "linux" {
		want = append(want, "kernel ", "TCP with ", "UDP buffers up to ", "offloads", "load ")
		for _, name := range []string{"tso", "gso", "gro"} {
			if _, ok := e.Offloads[name]; !ok {
				t.Errorf("the loopback device does not tell of %s", name)
			}
		}
		if strings.Trim(e.Kernel, "0123456789.") != "" {
			t.Errorf("of kernel %q want the number alone", e.Kernel)
		}
		if len(e.Buffers) < 4 {
			t.Errorf("of the buffers of sockets: %v", e.Buffers)
		}
	}
	for _, w := range want {
		if !strings.Contains(e.String(), w) {
			t.Errorf("%q lacks %q", e.String(), w)
		}
	}
	e = environment{GCPercent: -1, MemoryLimit: 5, Offloads: map[string]bool{"tso": true, "gro": false}}
	if got, want := e.String(), "GOGC=off, GOMEMLIMIT=5, QUIC with , without the offloads gro"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
