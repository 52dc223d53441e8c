package main

import (
	"io"
	"sync"
)

// printed is standard output, which may be closed while a run goes on, as by head or by a terminal that is
// gone. What cannot be written is left out, and the first error kept. Safe for concurrent use.
type printed struct {
	to io.Writer
	// failing is called at the first error, by whoever writes; nil: nothing is to be done.
	failing func()

	mu  sync.Mutex // guards what follows; held while it writes
	err error
}

// Write never fails: what a run has found out is written to files too.
func (p *printed) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return len(text), nil
	}
	if _, err := p.to.Write(text); err != nil {
		p.err = err
		if p.failing != nil {
			p.failing()
		}
	}
	return len(text), nil
}

// failed returns the first error.
func (p *printed) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
