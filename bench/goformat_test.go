package main

import (
	"strings"
	"testing"
)

// TestSizesInGoFormat expects calls of each size to have that in their name.
func TestSizesInGoFormat(t *testing.T) {
	m := measured(t, []string{"inmem"}, []int{1}, calls)
	opts := options{callers: []int{1}, size: 512, sizes: []int{16 << 10, 1 << 20}, tables: []table{calls}}
	m.loads = loads(opts, m.plan)
	p := m.pairs[0]
	for len(p.cells) < len(m.loads) {
		p.cells, p.latency = append(p.cells, p.cells[0]), append(p.latency, p.latency[0])
	}
	rep := &report{Rounds: 3, Size: 512}
	rep.fill(m)
	text, err := rep.marshalGoFormat()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/size=512/", "/size=16384/", "/size=1048576/"} {
		if n := strings.Count(text, want); n != 3+1 {
			t.Errorf("%d lines with %s, want one for each window, and one for the latencies:\n%s", n, want, text)
		}
	}
}
