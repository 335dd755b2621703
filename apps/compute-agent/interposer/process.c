/* process.c: what happens when a process is started with the library. */
#include "raw.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "report.h"
#include "shared-memory.h"
#include "state.h"

/*
 * A compute must not outlive the agent that carries its WAL: the kernel sends the postmaster SIGQUIT, an immediate
 * shutdown, when the agent ends. The variable is removed at once, so that programs the server starts do not act on it.
 */
static void die_with_agent(void)
{
	const char *text = getenv("COPPICE_AGENT_PID");
	if (!text)
		return;
	pid_t agent = (pid_t) strtol(text, NULL, 10);
	unsetenv("COPPICE_AGENT_PID");
	if (prctl(PR_SET_PDEATHSIG, SIGQUIT) == 0 && getppid() == agent)
		return;
	report("the agent, process %d, is not there; the server does not start", (int) agent);
	_exit(1);
}

__attribute__((constructor)) static void start(void)
{
	die_with_agent();
	state_initialize();
	shared_memory_initialize();
}
