//go:build !linux

package link

import (
	"fmt"
	"os"
	"runtime"
)

// A helper is what no other system than Linux has.
type helper struct{}

func startHelper(setup) (*helper, bool, error) {
	return nil, false, fmt.Errorf("link: %w: they need Linux, this is %s", ErrUnavailable, runtime.GOOS)
}

func (*helper) call(request) (answer, error) { return answer{}, ErrUnavailable }
func (*helper) transplant(_, _ int) error    { return ErrUnavailable }
func (*helper) close() error                 { return nil }
func (*helper) capture(int, *os.File) error  { return ErrUnavailable }
