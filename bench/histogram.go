package main

import (
	"encoding/json"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// histogram is a whole histogram of latencies in nanoseconds. In JSON it is a string: the
// compressed form of the HdrHistogram libraries (V2, in base64), which those of all
// languages read.
type histogram struct {
	*hdrhistogram.Histogram

	bars []hdrhistogram.Bar // see calls
}

// recorded reports whether there is anything in it.
func (h *histogram) recorded() bool { return h != nil && h.Histogram != nil && h.TotalCount() > 0 }

// calls returns how many took how long, where any did. It is asked for again and again, and the
// histogram goes through all that it could have, so what was found is kept while nothing is
// added. It is not for concurrent use.
func (h *histogram) calls() []hdrhistogram.Bar {
	total := int64(0)
	for _, bar := range h.bars {
		total += bar.Count
	}
	if total != h.TotalCount() {
		h.bars = nil
		for _, bar := range h.Distribution() {
			if bar.Count > 0 {
				h.bars = append(h.bars, bar)
			}
		}
	}
	return h.bars
}

func (h *histogram) MarshalJSON() ([]byte, error) {
	if !h.recorded() {
		return []byte(`""`), nil
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(text))
}

func (h *histogram) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil || text == "" {
		return err
	}
	decoded, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return fmt.Errorf("a histogram: %w", err)
	}
	*h = histogram{Histogram: decoded}
	return nil
}
