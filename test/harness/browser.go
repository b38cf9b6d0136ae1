package harness

// Browser gives the arguments with which Debian's chromium opens a page without
// a screen, with a profile of its own in dir. It wants to have HOME there too.
func Browser(dir, url string, more ...string) []string {
	return append(append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir=" + dir + "/profile",
	}, more...), url)
}
