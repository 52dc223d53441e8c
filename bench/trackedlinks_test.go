package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// trackedLinks are the results over links that README shows, by the congestion control of
// TCP, each of
//
//	go run ./bench -workloads links -rtt 20ms -loss 0.5%,2% -link-time 90s -json docs/bench/links-bbr.json
//	go run ./bench -workloads links -rtt 20ms -loss 0.5%,2% -link-time 90s -tcp-congestion cubic -json docs/bench/links-cubic.json
//	go test ./bench -run TestTrackedLinks -update
var trackedLinks = []string{"bbr", "cubic"}

// TestTrackedLinks expects README's table of losses and congestion controls to be that of
// the tracked results.
func TestTrackedLinks(t *testing.T) {
	var b strings.Builder
	for i, tcp := range trackedLinks {
		rep, err := readReport(filepath.Join(trackedDir, "links-"+tcp+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if rep.Interrupted || len(rep.Failures) > 0 || rep.Links.TCPCongestion != tcp {
			t.Errorf("the tracked run was interrupted, or something failed, or it had %s: %v", rep.Links.TCPCongestion, rep.Failures)
		}
		if i == 0 {
			b.WriteString(aboutLinks(rep))
		}
		for j := range rep.Links.Results {
			b.WriteString(linkRow(t, rep.Links, &rep.Links.Results[j]))
		}
	}
	inReadme(t, "bench: links", b.String())
}

// aboutLinks says what was measured, and is the header of the table.
func aboutLinks(rep *report) string {
	links := rep.Links
	return fmt.Sprintf("With a round trip of %v and the load above, %v per link (%s), small calls over QUIC "+
		"took, in times of what they took over websocket with TLS (behind it the interval in which it is with a confidence of 99 %%; "+
		"%s is no difference):\n\n| loss | TCP's congestion control | QUIC's | p99 | p99.9 |\n|--:|---|---|--:|--:|\n",
		links.Results[0].RTT, links.Duration, rep.Began.Format("2 January 2006"), undecided)
}

// linkRow compares QUIC with websocket over TLS.
func linkRow(t *testing.T, links *linkReport, result *linkResult) string {
	t.Helper()
	wss, quic := result.line("wss"), result.line("quic")
	if wss == nil || quic == nil || wss.Failed+quic.Failed > 0 || wss.Elapsed < links.Duration {
		t.Fatalf("over %s there are no figures of both, or calls failed", result.Title)
	}
	return fmt.Sprintf("| %s %% | %s | %s | %s | %s |\n", strconv.FormatFloat(100*result.Loss, 'f', -1, 64), links.TCPCongestion, links.QUICCongestion,
		quic.ratio(wss), times(float64(quic.P999)/float64(wss.P999)))
}
