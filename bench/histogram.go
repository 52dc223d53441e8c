package main

import (
	"encoding/json"
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// histogram is a whole histogram of latencies in nanoseconds. In JSON it is a string: the
// compressed form of the HdrHistogram libraries (V2, in base64), which those of all
// languages read.
type histogram struct{ *hdrhistogram.Histogram }

// recorded reports whether there is anything in it.
func (h *histogram) recorded() bool { return h != nil && h.Histogram != nil && h.TotalCount() > 0 }

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
	h.Histogram = decoded
	return nil
}
