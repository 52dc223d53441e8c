// Package kernel tells which kernel figures were measured on, as far as they depend on it.
// Command bench and the yardstick in bench/peers record it. There is one for Linux alone.
package kernel

import (
	"regexp"

	"golang.org/x/sys/unix"
)

// Version returns the number of the kernel that runs, or "" if it has none. What a distribution or an operator puts behind
// the number is left out: reports are published, and it may tell whose machine it was.
func Version() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return number(unix.ByteSliceToString(name.Release[:]))
}

// number returns major, minor and patch of a release, as far as it has them.
func number(release string) string {
	return regexp.MustCompile(`^\d+(\.\d+){0,2}`).FindString(release)
}
