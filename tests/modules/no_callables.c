/* A shared object that is no module. */
int no_callables(void);

int no_callables(void)
{
	return 0;
}
