__attribute__((visibility("default"))) int future_function(void);

int future_function(void)
{
	return 1;
}
