package config

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span. In the file it is a string: "10s", "4m", "1h30m",
// "20d".
type Duration time.Duration

// day is what d stands for: 24 hours.
const day = Duration(24 * time.Hour)

// maxDays is the most that a Duration can have.
const maxDays = 100_000

var errDuration = errors.New(`must be a duration with a unit, such as "10s", "4m", "1h30m" or "20d"`)

// ParseDuration reads a duration with units h, m, s, ms, or in whole days.
func ParseDuration(s string) (Duration, error) {
	if digits, ok := strings.CutSuffix(strings.TrimSpace(s), "d"); ok {
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n > maxDays {
			return 0, errDuration
		}
		return Duration(n) * day, nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil {
		return 0, errDuration
	}
	return Duration(d), nil
}

// fewDays is below what a Duration is told in days: "72h", but "7d".
const fewDays = 4

// String gives the duration without the zeros of time.Duration: "4m".
func (d Duration) String() string {
	if d >= fewDays*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
