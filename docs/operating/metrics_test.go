package main

import (
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
)

// TestCompressionFigures expects the figures to tell, for each handler and direction,
// what compression saved, what it took, and how many messages were sent as they were.
func TestCompressionFigures(t *testing.T) {
	var out strings.Builder
	writeMetrics(&out, core.Stats{Compression: []core.CompressionStats{{
		Handler: "kv.get",
		Requests: core.CompressionFlow{
			Sent:  core.CompressionCount{Plain: 1000, Packed: 300, Time: time.Second},
			Small: 1, Incompressible: 2, Sampled: 3, Unsupported: 4,
		},
		Responses: core.CompressionFlow{Received: core.CompressionCount{Plain: 500, Packed: 200, Time: 2 * time.Second}},
	}}}, 0, time.Now())
	for _, want := range []string{
		`sent_plain_bytes_total{handler="kv.get",route="",direction="requests"} 1000`,
		`sent_packed_bytes_total{handler="kv.get",route="",direction="requests"} 300`,
		`seconds_total{handler="kv.get",route="",direction="requests"} 1`,
		`skipped_messages_total{handler="kv.get",route="",direction="requests"} 10`,
		`received_plain_bytes_total{handler="kv.get",route="",direction="responses"} 500`,
		`received_packed_bytes_total{handler="kv.get",route="",direction="responses"} 200`,
		`seconds_total{handler="kv.get",route="",direction="responses"} 2`,
	} {
		if !strings.Contains(out.String(), "gridmux_compression_"+want+"\n") {
			t.Errorf("the figures lack %s", want)
		}
	}
}
