//go:build race

package lab

// RaceEnabled tells whether the race detector is on. What must not run then has
// the build tag !race; what shall run less asks Scale.
const RaceEnabled = true
