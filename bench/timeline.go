package main

import (
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// moments is how many equal parts a run is divided into, to see what happened when.
const moments = 40

// timeline is what happened when in a run. Calls are recorded under the lock of the run;
// octets may be added at any time.
type timeline struct {
	length time.Duration                    // of the run
	calls  [moments]*hdrhistogram.Histogram // of the latencies of those that were due then; nil: none
	octets [moments]atomic.Int64            // that streams sent
}

// part returns the one that a time since the beginning falls into.
func (t *timeline) part(since time.Duration) int {
	return min(max(int(float64(since)/float64(t.length)*moments), 0), moments-1)
}

// sent records octets.
func (t *timeline) sent(since time.Duration, octets int) { t.octets[t.part(since)].Add(int64(octets)) }

// call records one that was due at that time.
func (t *timeline) call(since, latency time.Duration) {
	i := t.part(since)
	if t.calls[i] == nil {
		t.calls[i] = hdrhistogram.New(int64(shortestLinkLatency), int64(longestLatency), latencyDigits)
	}
	// What is longer than the histogram would have timed out.
	_ = t.calls[i].RecordValue(int64(latency))
}

// moment is one part of a run.
type moment struct {
	Since time.Duration `json:"since_ns"` // its beginning, from when on it was counted
	Calls int64         `json:"calls"`    // that were due
	P50   time.Duration `json:"p50_ns"`
	Max   time.Duration `json:"max_ns"`
	Bits  float64       `json:"streams_bits_per_second"`
}

// moments returns the parts that were over when the run ended.
func (t *timeline) moments(elapsed time.Duration) (all []moment) {
	length := t.length / moments
	for i := range moments {
		since := time.Duration(i) * t.length / moments
		if since+length > elapsed {
			break
		}
		m := moment{Since: since, Bits: 8 * float64(t.octets[i].Load()) / length.Seconds()}
		if h := t.calls[i]; h != nil {
			m.Calls, m.P50, m.Max = h.TotalCount(), quantile(h, 50), quantile(h, 100)
		}
		all = append(all, m)
	}
	return all
}
