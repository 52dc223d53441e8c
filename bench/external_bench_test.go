//go:build external && linux

package main

import (
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// BenchmarkCompressedLink measures calls of 16 KiB over an emulated link of 100 Mbit/s:
// gain is how many times as many there are with the codec as without, ratio is that of the
// codec alone on the same messages, and gain/ratio is to be at least 0.8. Each is the median
// of the turns.
func BenchmarkCompressedLink(b *testing.B) {
	const speed = 100e6
	for _, name := range []string{"json", "log", "msgpack"} {
		of := generatedSending(name, speedSize, nil)
		b.Run(name, func(b *testing.B) {
			gains := map[string][]float64{}
			timing := speedPlan(400*time.Millisecond, leastCallers*of.size, speed)
			l, err := openEmulated(1, link.Conditions{RTT: speedRTT, Rate: speed, Queue: speedQueue})
			if err != nil {
				b.Fatal(err)
			}
			defer l.close()
			pair, err := openSenders(b.Context(), kinds()[1].open(l.at), []*sending{of})
			if err != nil {
				b.Fatal(err)
			}
			defer pair.end(b.Context())
			for b.Loop() {
				plain := 0.
				for _, w := range of.ways {
					m, _, err := pair.window(b.Context(), of, w, leastCallers, timing)
					switch {
					case err != nil:
						b.Fatal(err)
					case w.name == off:
						plain = m.PerSecond()
					default:
						gains[w.name] = append(gains[w.name], m.PerSecond()/plain)
					}
				}
			}
			for _, w := range of.ways[1:] {
				gain, ratio := median(gains[w.name]), 1/w.left(of.messages)
				b.ReportMetric(gain, w.name+"-gain")
				b.ReportMetric(ratio, w.name+"-ratio")
				b.ReportMetric(gain/ratio, w.name+"-gain/ratio")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
