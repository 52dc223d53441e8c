//go:build linux || darwin

package proctest_test

import (
	"fmt"
	"runtime/debug"
	"syscall"
)

// limitProcess puts the process under the limits of its spec.
func limitProcess(s *spec) error {
	if s.MaxDescriptors != 0 {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return fmt.Errorf("reading the limit on descriptors: %w", err)
		}
		l.Cur = s.MaxDescriptors
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return fmt.Errorf("limiting descriptors: %w", err)
		}
	}
	if s.MemoryLimit != 0 {
		debug.SetMemoryLimit(s.MemoryLimit)
	}
	return limitMemory(s.MaxMoreAddressSpace)
}
