package main

import (
	"cmp"
	"fmt"
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

// machine is what the figures depend on most.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Go         string `json:"go"`
	GOMAXPROCS int    `json:"gomaxprocs"`

	Environment environment `json:"environment"`
}

func thisMachine() machine {
	return machine{
		CPU:        cmp.Or(cpuid.CPU.BrandName, cpuid.CPU.VendorString, "unknown processor"),
		Cores:      runtime.NumCPU(),
		OS:         runtime.GOOS,
		Arch:       runtime.GOARCH,
		Go:         runtime.Version(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),

		Environment: thisEnvironment(),
	}
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %s, %s/%s, %s, GOMAXPROCS=%d", m.CPU, plural(m.Cores, "core"), m.OS, m.Arch, m.Go, m.GOMAXPROCS)
}
