//go:build external && linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// overLinks measures over emulated links and returns what the JSON file has.
func overLinks(t *testing.T, args ...string) *linkReport {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bench.json")
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"-no-demo", "-workloads", "links", "-out=", "-json", file}, args...), &stdout, &stderr)
	if code != exitOK || stderr.Len() > 0 {
		t.Fatalf("exit code %d and %q on stderr, want 0 and nothing\n%s", code, &stderr, &stdout)
	}
	checkPlain(t, stdout.String())
	t.Log(stdout.String())
	var rep report
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &rep)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rep.Links == nil || rep.Links.LeftOut != "" {
		t.Fatalf("no links: %+v", rep.Links)
	}
	return rep.Links
}

// TestOverLinks expects no call to be faster than its link, the usual one not to be much
// slower, as many packets to be lost as the link says, and the congestion control
// to be known.
func TestOverLinks(t *testing.T) {
	r := overLinks(t, "-transports", "websocket,wss,quic", "-rtt", "30ms", "-loss", "0,2%", "-link-time", "2s", "-link-rate", "200")
	if r.TCPCongestion == "" {
		t.Error("the kernel does not tell its congestion control")
	}
	if len(r.Results) != 2 {
		t.Fatalf("%d links, want 2", len(r.Results))
	}
	for _, result := range r.Results {
		if len(result.Lines) != 3 {
			t.Fatalf("%s: %d transports, want 3", result.Title, len(result.Lines))
		}
		for _, l := range result.Lines {
			// 1 % less, for a histogram rounds, and a clock has a resolution.
			if l.Calls != 400 || l.Failed > 0 || l.P50 < 30*time.Millisecond*99/100 || result.Loss == 0 && l.P50 > 60*time.Millisecond {
				t.Errorf("%s over %s: %+v", l.Transport, result.Title, l)
			}
			if lost := l.Lost > 0; l.Packets < 400 || lost != (result.Loss > 0) {
				t.Errorf("%s over %s: %d of %d packets lost", l.Transport, result.Title, l.Lost, l.Packets)
			}
		}
	}
}

// TestOverBlockedLink expects QUIC where UDP is blocked to be a line without figures, not a
// failure, and the other transport to win.
func TestOverBlockedLink(t *testing.T) {
	r := overLinks(t, "-link", "udp-blocked", "-link-time", "500ms")
	if len(r.Results) != 1 || len(r.Results[0].Lines) != 2 {
		t.Fatalf("%+v, want one link with two transports", r.Results)
	}
	if w := r.Results[0].winner(); w == nil || w.Transport != "wss" {
		t.Errorf("%+v wins, not wss", w)
	}
	if l := r.Results[0].Lines[1]; l.NoConnection == "" || l.Calls > 0 {
		t.Errorf("quic: %+v", l)
	}
}

// TestTCPCongestion expects a host to have the kernel's congestion control, and the end of a
// link the one that was asked for.
func TestTCPCongestion(t *testing.T) {
	want, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	if got := tcpCongestion(thisHost{}); got != string(bytes.TrimSpace(want)) {
		t.Errorf("%q, and %s by /proc", got, want)
	}
	l, err := openEmulated(1, link.Conditions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if tcpCongestion(l.at("a")) == "" {
		t.Error("an end of a link has none")
	}
	const reno = "reno" // which every kernel has
	o := linkOptions{congestion: reno}
	if got := tcpCongestion(o.hosts(l)("a")); got != reno {
		t.Errorf("an end that was to have %s has %q", reno, got)
	}
}
